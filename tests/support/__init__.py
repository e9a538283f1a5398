"""What several rings of tests share: labs, services, and files of networks."""
