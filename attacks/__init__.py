"""The attack suite: devices that lie, plans that defend, and what comes of both (docs/attacks.md, ``make attacks``).

    world                     public data cut over devices, some of them hostile
    defences                  plans of version 2: each verification policy and aggregation rule alone, and together
    scene                     what attackers know when they answer a task
    attackers, poison         each attack: what it joins with, and what it answers
    fitting                   how far a vector may go that the plan lets through
    arena, judging            a federation in one process, judged by the functions that the chain judges with
    verifiers, collusion      miners who are the attackers' friends
    measures                  accuracy, refusals, false alarms, rewards
    matrix, run, results      which attack meets which defence; all of it, kept run by run
    tables, plots             docs/attacks.md from the results

Rules of this package: attackers never see the audit's beacon, a holdout chunk before it is opened, or an honest
device's rows.
"""
