extern dataport_caps_handle_t to_@{neighbour}_handle;
extern dataport_caps_handle_t from_@{neighbour}_handle;
