"""What is done to training images: random, as a function of (seed, epoch, place)."""
