    connections[@{index}].consume_badge = rung_by_@{neighbour}_notification_badge();
