"""The paper's metrics, by the protocol of its released code: pure functions over captions, masks and phrases."""
