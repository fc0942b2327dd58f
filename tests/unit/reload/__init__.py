"""What is limited, and how tenants and devices share it."""
