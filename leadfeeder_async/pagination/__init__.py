"""How lists are walked: along cursors, or over numbered pages fetched ahead.

Pages wait as bytes and are decoded when the consumer takes them: decoded pages in a queue go cold, which costs a
quarter more CPU. The generators hold no lock, slot or cancel scope while they wait for their consumer; what they leave
behind when dropped is a handful of tasks, which their ``finally`` cancels.
"""
