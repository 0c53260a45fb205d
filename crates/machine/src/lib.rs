//! A root file system that osmith manages: deployments, boot entries, status.
