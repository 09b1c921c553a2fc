"""Pictures of training, of classes and of images."""
