"""The explorer: a local page in the browser on one model, to ask it what an intervention does."""
