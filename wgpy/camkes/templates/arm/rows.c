    {&to_@{neighbour}_handle, ring_@{neighbour}_emit, -1, "to-@{neighbour}"},
    {&from_@{neighbour}_handle, NULL, -1, "from-@{neighbour}"},
