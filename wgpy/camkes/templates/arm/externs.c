extern dataport_caps_handle_t to_@{neighbour}_handle;
extern dataport_caps_handle_t from_@{neighbour}_handle;
extern seL4_Word rung_by_@{neighbour}_notification_badge(void);
