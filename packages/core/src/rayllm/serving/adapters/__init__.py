"""LoRA adapters on a replica: fetched, looked at, loaded into its engine while it runs."""
