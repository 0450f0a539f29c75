"""The subcommands of `ani3d` that bake, prepare and measure. No torch: each loads what it runs when it is run."""
