"""placeholder"""
class ServiceMaker:
    def __init__(self, url, limit_s): ...
    def make(self, wish, init): raise NotImplementedError
    def releases(self): return []
    def limits(self): return {}
