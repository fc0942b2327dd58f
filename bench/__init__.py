"""Benchmarks: start the real program, drive it from another process, print its cost.

- `bench.scenarios`: what is measured, one file each;
- `bench.contenders`: what is measured against what, one file each: Hermes, its peers, the broker;
- `bench.load`: the clients that make the load, cheap enough not to be what is measured;
- `bench.figures`, `bench.report`, `bench.machine`: numbers, their table, and where they were taken.

``python -m bench --help`` lists the options. All traffic stays on the loopback, and every load ends by itself.
"""
