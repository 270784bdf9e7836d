"""The processes that run the model: one Celery worker for one or more of the stages."""
