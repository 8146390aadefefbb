# Label selectors, as apimachinery's LabelSelector says.
package library.selectors

# selects says whether a selector selects labels. An empty one selects everything.
selects(selector, labels) if {
	every key, value in object.get(selector, "matchLabels", {}) {
		labels[key] == value
	}
	every e in object.get(selector, "matchExpressions", []) {
		holds(e, labels)
	}
}

holds(e, labels) if {
	e.operator == "In"
	labels[e.key] in e.values
}

holds(e, labels) if {
	e.operator == "NotIn"
	not is_one_of(e, labels)
}

holds(e, labels) if {
	e.operator == "Exists"
	e.key in object.keys(labels)
}

holds(e, labels) if {
	e.operator == "DoesNotExist"
	not e.key in object.keys(labels)
}

is_one_of(e, labels) if labels[e.key] in e.values
