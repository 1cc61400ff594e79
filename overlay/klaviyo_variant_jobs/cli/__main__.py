"""`python -m klaviyo_variant_jobs.cli`, for where the command is not on PATH."""

from klaviyo_variant_jobs.cli import main

main()
