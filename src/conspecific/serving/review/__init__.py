"""The review page: images and groups worth a look, and answers that become corrections."""
