"""From a trained run to samples: requests, the engine that runs them together, and the pipeline on top."""
