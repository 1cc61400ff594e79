"""The clients: two thin shells that own an httpx client and drive the steps. Only they send."""
