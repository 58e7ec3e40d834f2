"""Generation: from requests to samples."""
