    {&to_@{neighbour}_handle, ring_@{neighbour}_emit, {.id = -1, .reg_callback = NULL}},
    {&from_@{neighbour}_handle, NULL, {.id = @{index}, .reg_callback = rung_by_@{neighbour}_reg_callback}},
