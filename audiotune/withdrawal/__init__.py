"""Withdrawals: what follows from one, told before it is made, and done after it: what plays, what is erased, what is trained anew."""
