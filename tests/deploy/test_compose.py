"""The compose files say what they should, and every process in them runs by the words that stand there."""

import re
from copy import deepcopy
from typing import Any

import jsonschema
import pytest
import yaml
from sqlalchemy import make_url

from shared.settings import Settings
from tests.deploy import compose
from tests.deploy.compose import SECRETS
from tests.deploy.compose_schema import COMPOSE

BASE, GPU = "docker-compose.yml", "docker-compose.gpu.yml"
WORKERS = ("worker-vision", "worker-llm", "worker-pixel")
SET_UP = ("database-role", "migrate", "bucket-user", "bucket", "key")
OURS = (*SET_UP, "gateway", "scheduler", *WORKERS)
ADMINISTRATORS = {"GLAMM_DATABASE_ADMIN_URL", "GLAMM_S3_ADMIN_ACCESS_KEY", "GLAMM_S3_ADMIN_SECRET_KEY"}
"""Variables of set-up alone, which are no settings."""


@pytest.fixture(params=[(BASE,), (BASE, GPU)], ids=["cpu", "gpu"])
def project(request) -> dict[str, Any]:
    return compose.load(*request.param, environment=SECRETS)


@pytest.fixture
def services() -> dict[str, Any]:
    return compose.load(BASE, environment=SECRETS)["services"]


def environment_example() -> dict[str, bool]:
    """Variable → whether the example leaves it to be filled in."""
    text = (compose.ROOT / ".env.example").read_text()
    return {name: value == "" for name, value in re.findall(r"^(?:# )?([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)}


def seconds(duration: str) -> int:
    parts = re.findall(r"(\d+)([smh])", duration)
    return sum(int(count) * {"s": 1, "m": 60, "h": 3600}[unit] for count, unit in parts)


def waits_for(services: dict[str, Any], name: str) -> set[str]:
    """Everything that has to be there before the service starts, directly or not."""
    first = set(services[name].get("depends_on", {}))
    return first.union(*(waits_for(services, other) for other in first))


def test_the_files_keep_to_the_compose_specification(project):
    jsonschema.validate(project, COMPOSE)


@pytest.mark.parametrize(
    "mistake",
    [
        {"container_name": "worker"},
        {"enviroment": {"GLAMM_DEVICE": "cpu"}},
        {"image": "glamm-worker"},
        {"depends_on": {"migrate": {"condition": "service_ready"}}},
        {"stop_grace_period": 40},
    ],
)
def test_the_check_notices_mistakes(project, mistake):
    broken = deepcopy(project)
    broken["services"]["worker-llm"].update(mistake)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, COMPOSE)


def test_what_is_referred_to_exists(project):
    for name, service in project["services"].items():
        assert set(service.get("depends_on", {})) <= set(project["services"]), name
        assert set(service["networks"]) <= set(project["networks"]), name
        named = {volume.split(":")[0] for volume in service.get("volumes", []) if volume[0] not in "./"}
        assert named <= set(project["volumes"]), name
        if "build" in service:
            assert (compose.ROOT / service["build"]["dockerfile"]).is_file()


def test_images_are_pinned_to_a_version(project):
    for service in project["services"].values():
        tag = service["image"].rsplit(":", 1)[1]
        assert re.search(r"\d+\.\d+\.\d+|\d+\.\d+-|RELEASE\.\d{4}", tag), service["image"]


def test_each_image_of_ours_is_built_once_and_never_pulled(services):
    """Two services that build and export one tag at the same time fail; a tag that is pulled may be anybody's."""
    ours = {service["image"] for service in services.values() if service["image"].startswith("glamm-")}
    assert sorted(service["image"] for service in services.values() if "build" in service) == sorted(ours)
    for name, service in services.items():
        assert service.get("pull_policy") == ("never" if name in OURS else None), name
        assert (service["image"] in ours) == (name in OURS)


def test_what_goes_on_waits_for_the_service_that_builds_its_image(services):
    """`docker compose up gateway` takes along what it waits for, and builds no other image."""
    (builder,) = (name for name in SET_UP if "build" in services[name])
    for name in set(OURS) - set(SET_UP):
        assert builder in waits_for(services, name), name


def test_nothing_fills_the_disk_with_what_it_writes(services):
    for name, service in services.items():
        assert re.fullmatch(r"\d+m", service["logging"]["options"]["max-size"]), name
        assert int(service["logging"]["options"]["max-file"]) > 1, name


def test_the_workers_threads_can_be_set():
    services = compose.load(BASE, environment=SECRETS | {"TORCH_THREADS": "3"})["services"]
    assert {services[name]["environment"]["GLAMM_TORCH_THREADS"] for name in WORKERS} == {"3"}


@pytest.mark.parametrize("file", [BASE, GPU])
def test_no_anchor_is_left_over(file):
    tokens = list(yaml.scan(read(file)))
    anchors = {token.value for token in tokens if isinstance(token, yaml.AnchorToken)}
    assert anchors
    assert anchors == {token.value for token in tokens if isinstance(token, yaml.AliasToken)}


def test_a_service_is_waited_for_in_a_way_that_it_can_fulfil(services):
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
            if how["condition"] == "service_completed_successfully":
                assert "restart" not in services[other], "it would never be seen to end"


def test_every_long_running_service_has_a_health_check_and_comes_back(services):
    for name in set(services) - set(SET_UP):
        assert "healthcheck" in services[name], name
        assert services[name]["restart"] == "unless-stopped", name


def test_what_clients_speak_to_has_a_port_on_the_host_and_by_default_for_this_host_alone(services):
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"gateway": ["127.0.0.1:8000:8000"], "minio": ["127.0.0.1:9000:9000"]}


def test_clients_are_sent_to_the_port_that_the_object_store_has_on_the_host(services):
    assert services["gateway"]["environment"]["GLAMM_S3_PUBLIC_ENDPOINT"] == "127.0.0.1:9000"
    services = compose.load(BASE, environment=SECRETS | {"S3_PUBLIC_ENDPOINT": "objects.example"})["services"]
    assert services["gateway"]["environment"]["GLAMM_S3_PUBLIC_ENDPOINT"] == "objects.example"


def test_any_number_of_each_worker_can_run(project):
    for name in WORKERS:
        worker = project["services"][name]
        assert "container_name" not in worker
        assert "ports" not in worker
        assert all(volume.endswith(":ro") for volume in worker["volumes"]), "nothing that two could write"


def test_a_worker_has_time_to_finish_or_give_back_its_work(services):
    for name in WORKERS:
        drain = float(services[name]["environment"]["GLAMM_DRAIN_SECONDS"])
        assert seconds(services[name]["stop_grace_period"]) >= drain + 10, name


def test_the_gateway_has_time_to_answer_its_longest_poll(services):
    longest = Settings.model_fields["max_wait_seconds"].default
    assert seconds(services["gateway"]["stop_grace_period"]) > longest


def test_the_broker_never_evicts_and_the_features_store_does(services):
    broker, features = (" ".join(services[name]["command"]) for name in ("redis-broker", "redis-features"))
    assert "--maxmemory-policy noeviction" in broker
    assert "--appendonly yes" in broker
    assert "--maxmemory-policy allkeys-lru" in features
    assert "--appendonly no" in features


def test_what_clients_do_not_speak_to_has_no_way_out(services):
    project = compose.load(BASE, environment=SECRETS)
    assert project["networks"]["internal"]["internal"] is True
    outside = {name for name, service in services.items() if service["networks"] != ["internal"]}
    assert outside == {"gateway", "minio", "scheduler"}


def test_our_processes_run_with_nothing_that_they_do_not_need(services):
    for name in OURS:
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_every_address_is_a_service_that_was_waited_for(services):
    for name in OURS:
        environment = services[name]["environment"]
        hosts = {match for value in environment.values() for match in re.findall(r"(?:@|//|^)([a-z-]+):\d+", value)}
        assert hosts, f"{name} speaks to nobody"
        assert hosts <= waits_for(services, name), name


def test_every_variable_of_ours_is_a_setting_with_a_valid_value(project, monkeypatch):
    for name in OURS:
        environment = project["services"][name]["environment"]
        known = {f"GLAMM_{field.upper()}" for field in Settings.model_fields} | {"GLAMM_API_KEY"} | ADMINISTRATORS
        assert set(environment) <= known, name
        with monkeypatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            settings = Settings()
        assert settings.s3_bucket == "glamm"
        assert settings.device == environment.get("GLAMM_DEVICE", "auto")
        assert settings.dtype == environment.get("GLAMM_DTYPE", "float32")


def test_a_setting_that_a_worker_reads_is_passed_to_it():
    """What the file gives to other processes of ours, and with the same value."""
    files = [*(compose.ROOT / "workers").rglob("*.py"), compose.ROOT / "shared" / "limits.py"]
    named = {name for file in files for name in re.findall(r"settings\.([a-z0-9_]+)", file.read_text())}
    read_by_workers = {f"GLAMM_{name.upper()}" for name in named}
    assert "GLAMM_MAX_STORED_BYTES" in read_by_workers
    services = compose.load(BASE, environment=SECRETS | {"MAX_STORED_BYTES": "1000"})["services"]
    given = {key: value for name in ("gateway", "scheduler") for key, value in services[name]["environment"].items()}
    for name in WORKERS:
        environment = services[name]["environment"]
        for variable in read_by_workers & set(given):
            assert environment.get(variable) == given[variable], f"{name}: {variable}"


def test_the_secrets_are_the_same_on_both_ends(services):
    postgres, minio = services["postgres"]["environment"], services["minio"]["environment"]
    admin = make_url(services["database-role"]["environment"]["GLAMM_DATABASE_ADMIN_URL"])
    assert (admin.username, admin.password) == (postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"])
    assert admin.database == postgres["POSTGRES_DB"]
    user = services["bucket-user"]["environment"]
    assert user["GLAMM_S3_ADMIN_ACCESS_KEY"] == minio["MINIO_ROOT_USER"]
    assert user["GLAMM_S3_ADMIN_SECRET_KEY"] == minio["MINIO_ROOT_PASSWORD"]
    made = services["database-role"]["environment"] | user
    for name in OURS:
        environment = services[name]["environment"]
        for variable in {"GLAMM_DATABASE_URL", "GLAMM_S3_ACCESS_KEY", "GLAMM_S3_SECRET_KEY"} & set(environment):
            assert environment[variable] == made[variable], name
        for variable, server in (("GLAMM_BROKER_URL", "redis-broker"), ("GLAMM_FEATURES_URL", "redis-features")):
            if variable in environment:
                password = f":{services[server]['environment']['REDISCLI_AUTH']}@"
                assert password in environment[variable], name


def test_no_process_of_ours_that_goes_on_is_or_knows_an_administrator(services):
    postgres, minio = services["postgres"]["environment"], services["minio"]["environment"]
    for name in set(OURS) - {"database-role", "bucket-user"}:
        environment = services[name]["environment"]
        assert not ADMINISTRATORS & set(environment), name
        shown = str(environment)
        assert postgres["POSTGRES_PASSWORD"] not in shown, name
        assert minio["MINIO_ROOT_PASSWORD"] not in shown, name
        if "GLAMM_DATABASE_URL" in environment:
            assert make_url(environment["GLAMM_DATABASE_URL"]).username != postgres["POSTGRES_USER"]
        assert environment.get("GLAMM_S3_ACCESS_KEY") != minio["MINIO_ROOT_USER"]


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_without_a_secret_nothing_starts_and_the_message_names_it(missing):
    rest = {name: value for name, value in SECRETS.items() if name != missing}
    with pytest.raises(compose.Missing, match=f"{missing}: set {missing} in .env"):
        compose.load(BASE, environment=rest)


def test_no_secret_stands_in_the_files():
    values = [value for file in (BASE, GPU) for value in compose.load(file, environment=SECRETS)["services"].values()]
    shown = str(values)
    for secret in SECRETS.values():
        shown = shown.replace(secret, "")
    assert not re.search(r"(PASSWORD|SECRET_KEY)': '[^']+'", shown)


def test_the_example_of_the_env_file_names_each_variable_and_leaves_the_secrets_open():
    used = {name: required for file in (BASE, GPU) for name, required in compose.variables(read(file)).items()}
    example = environment_example()
    assert set(used) == set(example)
    assert {name for name, required in used.items() if required} == {name for name, open_ in example.items() if open_}
    assert set(SECRETS) == {name for name, open_ in example.items() if open_}


def test_with_the_override_the_workers_and_nobody_else_get_a_device():
    services = compose.load(BASE, GPU, environment=SECRETS | {"GPU_LLM": "1"})["services"]
    assert {name for name, service in services.items() if "deploy" in service} == set(WORKERS)
    for name in WORKERS:
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["device_ids"] == ["1" if name == "worker-llm" else "0"]
        assert services[name]["environment"]["GLAMM_DEVICE"] == "cuda"
        assert services[name]["environment"]["GLAMM_CHECKPOINT"] == "/checkpoint", "the rest of the block is kept"


def read(file: str) -> str:
    return (compose.ROOT / file).read_text()
