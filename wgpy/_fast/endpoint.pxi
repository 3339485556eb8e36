# Endpoint records to and from the C struct.
from socket import AF_INET, AF_INET6, if_indextoname, if_nametoindex, inet_ntop, inet_pton

from wgpy.notices import Endpoint


cdef object _address(uint8_t family, const uint8_t *raw):
    return inet_ntop(AF_INET if family == 4 else AF_INET6, <bytes>raw[:4 if family == 4 else 16])


cdef object unpack_endpoint(const wg_endpoint *e):
    if not e.family:
        return None
    address = _address(e.family, e.addr)
    if e.scope:
        address = f"{address}%{e.scope}"
    if e.source != WG_SOURCE_KNOWN:
        return Endpoint(address, e.port)
    return Endpoint(address, e.port, _address(e.family, e.local), e.ifindex)


cdef int pack_endpoint(wg_endpoint *e, object endpoint) except -1:
    """Fills the struct; None clears it. ValueError for what is no numeric address."""
    memset(e, 0, sizeof(wg_endpoint))
    if endpoint is None:
        return 0
    host, _, scope = endpoint.address.partition("%")
    try:
        packed = inet_pton(AF_INET6 if ":" in host else AF_INET, host)
        if scope:
            e.scope = int(scope) if scope.isdigit() else if_nametoindex(scope)
        local = inet_pton(AF_INET6 if ":" in endpoint[2] else AF_INET, endpoint[2]) if len(endpoint) > 2 and endpoint[2] else b""
    except OSError as error:
        raise ValueError(f"no numeric address: {endpoint.address}") from error
    if not 0 <= endpoint.port <= 65535:
        raise ValueError(f"no UDP port: {endpoint.port}")
    e.family = 6 if ":" in host else 4
    e.port = endpoint.port
    memcpy(e.addr, <const uint8_t *>packed, len(packed))
    if local and len(local) == len(packed):
        e.source = WG_SOURCE_KNOWN
        memcpy(e.local, <const uint8_t *>local, len(local))
        e.ifindex = endpoint[3]
    return 0
