package parity_test

// liveSpecs are specs of policies without their matchConstraints, which match everything then.
var liveSpecs = []string{
	// Matching.
	"matchConstraints: {resourceRules: [{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [pods, namespaces]}]}\nvalidations: [{expression: \"false\", message: m}]",
	"matchConstraints: {resourceRules: [{apiGroups: [\"*\"], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [\"*/*\"], scope: Cluster}]}\nvalidations: [{expression: \"false\", message: m}]",
	"matchConstraints: {resourceRules: [{apiGroups: [\"*\"], apiVersions: [v1], operations: [\"*\"], resources: [\"*\"], scope: Namespaced}], excludeResourceRules: [{apiGroups: [\"\"], apiVersions: [v1], operations: [\"*\"], resources: [\"pods/*\"], resourceNames: [web]}]}\nvalidations: [{expression: \"false\", message: m}]",
	"matchConstraints: {namespaceSelector: {matchLabels: {team: a}}, resourceRules: [{apiGroups: [\"*\"], apiVersions: [\"*\"], operations: [\"*\"], resources: [\"*\"]}]}\nvalidations: [{expression: \"false\", message: m}]",
	"matchConstraints: {objectSelector: {matchExpressions: [{key: app, operator: Exists}]}, resourceRules: [{apiGroups: [\"*\"], apiVersions: [\"*\"], operations: [\"*\"], resources: [\"*\"]}]}\nvalidations: [{expression: \"false\", message: m}]",
	"matchConstraints: {objectSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}, matchPolicy: Exact, resourceRules: [{apiGroups: [\"*\"], apiVersions: [\"*\"], operations: [\"*\"], resources: [\"*\"]}]}\nvalidations: [{expression: \"false\", message: m}]",
	"matchConstraints: {resourceRules: [{apiGroups: [autoscaling], apiVersions: [v2], operations: [CREATE], resources: [horizontalpodautoscalers]}]}\nvalidations: [{expression: \"false\", messageExpression: \"object.apiVersion + ' ' + request.kind.version + ' ' + request.resource.version + ' ' + request.requestKind.version + ' ' + request.requestResource.version + ' ' + string(object.spec.metrics[0].resource.target.averageUtilization)\"}]",
	"matchConstraints: {matchPolicy: Exact, resourceRules: [{apiGroups: [autoscaling], apiVersions: [v2], operations: [CREATE], resources: [horizontalpodautoscalers]}]}\nvalidations: [{expression: \"false\", message: m}]",
	// Messages.
	"validations: [{expression: \" object == null \"}]",
	"validations: [{expression: \"false\", message: \" m \", reason: Forbidden}]",
	"validations: [{expression: \"false\", message: m, messageExpression: \"'x ' + request.operation\"}]",
	"validations: [{expression: \"false\", message: m, messageExpression: \"object.nothing\"}]",
	"validations: [{expression: \"false\", message: m, messageExpression: \"'a\\\\nb'\"}]",
	"validations: [{expression: \"false\", messageExpression: \"'  '\"}]",
	"validations: [{expression: \"false\", message: m, messageExpression: \"' trimmed '\"}]",
	"validations: [{expression: \"false\", message: a}, {expression: \"true\"}, {expression: \"object.nothing == 1\"}, {expression: \"false\", message: b}]",
	// Failure policies and match conditions.
	"failurePolicy: Ignore\nvalidations: [{expression: \"object.nothing == 1\"}, {expression: \"object.metadata.name == 'web'\", message: m}]",
	"failurePolicy: Ignore\nmatchConditions: [{name: c, expression: \"object.nothing == 1\"}]\nvalidations: [{expression: \"false\"}]",
	"matchConditions: [{name: c, expression: \"object.nothing == 1\"}]\nvalidations: [{expression: \"false\"}]",
	"matchConditions: [{name: c, expression: \"object.nothing == 1\"}, {name: d, expression: \"false\"}]\nvalidations: [{expression: \"false\"}]",
	"matchConditions: [{name: c, expression: \"request.namespace == 'shop'\"}]\nvalidations: [{expression: \"false\", message: m}]",
	"matchConditions: [{name: c, expression: \"namespaceObject == null\"}]\nvalidations: [{expression: \"false\", messageExpression: \"namespaceObject == null ? 'none' : namespaceObject.metadata.name\"}]",
	// Variables.
	"variables: [{name: broken, expression: \"object.nothing\"}, {name: size, expression: \"size(request.operation)\"}, {name: twice, expression: \"variables.size * 2\"}]\nvalidations: [{expression: \"variables.twice < 0\", messageExpression: \"string(variables.twice)\"}, {expression: \"variables.broken == 1\"}]",
	"variables: [{name: a, expression: \"1\"}, {name: a, expression: \"'two'\"}]\nvalidations: [{expression: \"false\", messageExpression: \"string(variables.a)\"}]",
	// The request and its object.
	"validations: [{expression: \"false\", messageExpression: \"(has(request.name) ? request.name.split('-')[0] + string(size(request.name)) : 'no name') + ' ' + (has(request.namespace) ? request.namespace : 'no namespace') + ' ' + (has(request.subResource) ? 'sub' : 'no sub') + ' ' + string(request.dryRun) + ' ' + request.kind.group + '/' + request.kind.version + '/' + request.kind.kind + ' ' + request.resource.resource\"}]",
	"validations: [{expression: \"false\", messageExpression: \"request.userInfo.username + ' ' + request.userInfo.groups.join(',') + ' ' + string(has(request.userInfo.uid))\"}]",
	"validations: [{expression: \"false\", messageExpression: \"string(object == null) + ' ' + string(oldObject == null)\"}]",
	"validations: [{expression: \"oldObject == null || object == null || object.data == oldObject.data\", messageExpression: \"oldObject.data.a + ' -> ' + object.data.a\"}]",
	"validations: [{expression: \"false\", messageExpression: \"has(object.metadata.name) ? object.metadata.name.replace('web-', 'web_').substring(0, 3) : 'none'\"}]",
	"validations: [{expression: \"false\", messageExpression: \"namespaceObject == null ? 'none' : namespaceObject.metadata.name + ' ' + string(has(namespaceObject.metadata.labels)) + ' ' + string(size(namespaceObject.spec.finalizers))\"}]",
	"validations: [{expression: \"object.kind != 'Deployment' || object.spec.template.spec.dnsPolicy + object.spec.strategy.type + string(object.spec.progressDeadlineSeconds) + object.spec.template.spec.containers[0].imagePullPolicy == ''\", messageExpression: \"object.spec.template.spec.dnsPolicy + object.spec.strategy.type + string(object.spec.progressDeadlineSeconds) + object.spec.template.spec.containers[0].imagePullPolicy\"}]",
	"validations: [{expression: \"object.kind != 'Deployment' || !has(object.spec.template.spec.volumes[0].emptyDir)\", messageExpression: \"string(object.spec.template.spec.volumes.size())\"}]",
	"validations: [{expression: \"object.kind != 'Pod' || object.spec.containers.all(c, c.image.contains(':'))\"}]",
	// Costs.
	"validations: [{expression: \"lists.range(10000).all(i, lists.range(1000).all(j, i + j >= 0))\"}]",
	"variables: [{name: much, expression: \"[1,2,3,4,5,6,7,8,9,10]\"}]\nvalidations: [{expression: \"variables.much.all(a, variables.much.all(b, variables.much.all(c, variables.much.all(d, variables.much.all(e, variables.much.all(f, true))))))\"}]",
	"validations: [{expression: \"false\", message: m, messageExpression: \"[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, true)))))) ? 'a' : 'b'\"}]",
}

// liveValues are expressions whose values are told as messages: strings all.
var liveValues = []string{
	"string(object.spec.replicas)", "string(type(object.spec.replicas))", "string(object.spec.replicas / 2)", "string(object.spec.replicas % 4)", "string(double(object.spec.replicas) / 2.0)",
	"string(7 == 7.0)", "string(object.spec.replicas == 7.0)", "string(object.spec.replicas in [7.0])", "string(1u + 2u)", "string(9223372036854775807 + 1)", "string(1 / 0)",
	"string(int('12') + int(3.9))", "string(uint(3))", "string(double('1e3'))", "string(bool('true'))", "string(b'abc')", "string(bytes('é'))", "string(size('é'))",
	"string(timestamp('2024-02-29T12:00:00Z').getDayOfYear())", "string(timestamp('2024-02-29T12:00:00Z') + duration('36h'))", "string(timestamp('2024-02-29T12:00:00Z').getHours('Europe/Berlin'))",
	"string(duration('90m'))", "string(duration('1h').getMinutes())", "string(timestamp('2024-01-01T00:00:00Z') - timestamp('2023-01-01T00:00:00Z'))",
	"object.metadata.annotations['a.b/c']", "object.metadata.annotations['nothing']", "object.?metadata.annotations[?'nothing'].orValue('none')", "object.metadata.?labels.?env.value()",
	"string(has(object.metadata.annotations))", "string(has(object.spec.template.metadata.creationTimestamp))", "string('env' in object.metadata.labels)", "string(object.metadata.labels.exists(k, k == 'env'))",
	"object.metadata.labels.map(k, k).join(',').size() == 7 ? 'seven' : 'other'", "string(object.metadata.labels == {'env': 'dev', 'app': 'web'})", "string([1, 2] == [1.0, 2.0])",
	"string(object.spec.template.spec.containers.filter(c, c.name == 'app').size())", "string(object.spec.template.spec.containers.map(c, c.name))", "string([1, 2, 3].exists_one(x, x > 2))",
	"string([[1, 2], [3]].map(x, x.size()).sum())", "string([3, 1, 2].max()) + string([3, 1, 2].min())", "string([1, 2, 2].isSorted())", "string(['a', 'b'].indexOf('b')) + string(['a', 'a'].lastIndexOf('a'))",
	"string([1, 2, 3].slice(1, 3).size())", "string([[1], [2]].flatten().size())", "string([1, 1, 2].distinct().size())", "string([3, 1].sort()[0])", "string(['bb', 'a'].sortBy(s, s.size())[0])", "string(lists.range(3).reverse()[0])",
	"string([1, 2].first().value() + [1, 2].last().value())", "string(sets.contains([1, 2], [1]))", "string(sets.equivalent([1, 1], [1.0]))", "string(sets.intersects([1], [2]))",
	"string({'a': 1}.all(k, v, v == 1))", "string([1, 2].exists(i, v, i == v - 1))", "string({'a': 1, 'b': 2}.transformList(k, v, v).size())", "string({'a': 1}.transformMap(k, v, v + 1).a)", "string([1, 2].transformMapEntry(i, v, {string(v): i}).size())",
	"'Abc'.lowerAscii() + 'Abc'.upperAscii()", "'a,b,c'.split(',')[1]", "'abc'.substring(1)", "'abc'.charAt(1)", "'abcabc'.replace('b', 'x', 1)", "'  a '.trim()", "'abc'.reverse()", "'%s-%d'.format(['a', 1])", "'%.2f %x %b'.format([1.5, 255, 5])", "strings.quote('a\"b')", "string('abc'.indexOf('c'))", "['a', 'b'].join('-')",
	"'abc'.find('[bc]+')", "'abc'.findAll('[a-c]').join('|')", "'abc'.findAll('[a-c]', 2).join('|')", "string('abc'.matches('^a.c$'))",
	"url('https://user@example.com:8443/p/a?x=1&y=2').getHost()", "url('https://example.com/p?x=1').getQuery()['x'][0]", "url('https://example.com/p a').getEscapedPath()", "string(isURL('/a'))", "url('not a url').getScheme()",
	"string(quantity('1.5Gi').asInteger())", "string(quantity('100m').isInteger())", "string(quantity('1k').compareTo(quantity('1000')))", "string(quantity('1Gi').add(quantity('1Mi')).sub(1).asApproximateFloat())", "string(isQuantity('1x'))", "string(quantity('x').sign())", "string(quantity(object.spec.template.spec.containers[0].resources.limits.memory).isGreaterThan(quantity('1G')))",
	"string(ip('10.0.0.1').isLoopback()) + string(ip('::1').family())", "string(ip.isCanonical('::0'))", "string(isIP('10.0.0.300'))", "string(ip('10.0.0.300').family())", "string(cidr('10.0.0.0/8').prefixLength())", "string(cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16'))", "string(cidr('10.1.2.3/8').masked())", "string(isCIDR('10.0.0.0'))",
	"string(format.dns1123Label().validate('A').value().size())", "string(format.named('dns1035Label').hasValue())", "string(format.qualifiedName().validate('a/b').hasValue())", "string(format.date().validate('2024-13-01').hasValue())",
	"string(semver('1.2.3-rc.1').isLessThan(semver('1.2.3')))", "string(isSemver('v1.0'))", "string(semver('v1.0', true).minor())", "string(semver('1.x').major())",
	"optional.of('a').orValue('b') + optional.none().orValue('b')", "string(optional.ofNonZeroValue(0).hasValue())", "[?optional.of('x')][0]", "string({?'a': optional.none()}.size())", "object.?metadata.?name.optMap(n, n + '!').orValue('')", "string(object.?spec.?nothing.or(optional.of(3)).value())", "object.?spec.optFlatMap(s, s.?paused).orValue(false) ? 'a' : 'b'",
	"string(dyn(1) == 'a')", "string(dyn('a') < 1)", "object.metadata + 'a'", "string(object.spec.replicas.x)", "object.spec.template.spec.containers[7].name", "string(object.spec.template.spec.containers['a'])", "string(object[1])", "true ? 'a' : object.nothing", "string(object.nothing || true)", "string(!object.metadata.name)", "string(null)", "string([])", "string(type([]))", "string(type(object)) + string(type(object.spec.template.spec.containers))",
	"string(object.spec.replicas > 3 && object.spec.nothing > 3 || true)", "string(false && object.nothing)", "object.metadata.name.size() > 2 ? 'long' : 'short'",
	"string(request.kind == request.requestKind)", "request.options.fieldManager", "string(request.options.dryRun.size())", "request.options.kind", "string(has(request.options.fieldValidation))",
}
