"""Random storms: what is killed and stopped, what is checked, and how long recovery takes.

`test_storms.py` and its sisters play a few, `make storm` as many as one likes (`python -m storms --help`).

    jobs.py      what runs meanwhile
    stage.py     the cluster, its clients, and who takes over from them
    blows.py     what befalls them
    storm.py     one storm, from a seed, and its checks
    recovery.py  how long it took to go on after a blow
    leftovers.py what may be left afterwards: nothing
"""
