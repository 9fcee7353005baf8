"""The common language of data plane and control plane: values, contracts and secrets, free of any framework."""
