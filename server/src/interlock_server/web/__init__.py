"""HTTP: the read path, the API under ``/v1/``, health, and how errors become problem documents."""
