"""The chart without a cluster: its values, its README, and the programs that check what it renders."""
