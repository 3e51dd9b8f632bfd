"""What placement_peers.py is made of: one cluster, said in everybody's language, and measured."""
