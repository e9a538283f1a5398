"""What several rings of tests share: servers, labs, doubles, files made up for a test, and assertions."""
