"""Ways to fine-tune, one module each. `conspecific.config.schema.RecipeConfig` documents their keys."""
