"""What is put together for the nodes: their code, their Python environment, and what makes both ready there."""
