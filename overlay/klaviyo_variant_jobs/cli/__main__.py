"""`python -m klaviyo_variant_jobs.cli`, for where scripts are not on the path."""

from klaviyo_variant_jobs.cli import main

main()
