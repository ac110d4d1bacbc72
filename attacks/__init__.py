"""The attack suite: devices that lie, plans that defend, and what comes of both (docs/attacks.md, ``make attacks``).

    world       public data cut over devices, some of them hostile
    defences    plans of version 2: each verification policy and aggregation rule alone, and together
    scene       what attackers know when they answer a task
    attackers   each attack: what it joins with, and what it answers
    arena       a federation in one process, judged by the functions that the chain judges with
    measures    accuracy, refusals, false alarms, rewards
    matrix      which attack meets which defence, at which share
    run, tables the whole, cached run by run; tables and plots from it

Rules of this package: attackers never see the audit's beacon, a holdout chunk before it is opened, or an honest
device's rows.
"""
