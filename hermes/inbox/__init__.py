"""The inbox: notifications that are kept until their readers have seen them.

`inbox` has the Protocol and its values, ``sqlite/`` the store in a file. `sender` stores and delivers, `resumption`
brings a socket from its position to live frames, `read_state` acknowledges and withdraws, `remote` publishes what other
processes have stored.
"""
