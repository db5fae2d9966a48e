"""Objects that hold pod templates: what is decided of their pods, and what their author should know."""
