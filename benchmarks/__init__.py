"""What the library costs and how right it is, measured beside its peers."""
