package kyverno

import (
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// conditions says what is wrong with conditions at a place, and compiles their expressions.
func (c *compiler) conditions(at policies.Path, in *conditions) {
	if in == nil {
		return
	}
	list := func(key string, all []condition) {
		within := at
		if key != "" {
			within = at.Append(key)
		}
		for i := range all {
			at := within.Append(i)
			if operations[all[i].Operator] == nil {
				c.wrong(at.Append("operator"), policies.AtValue, fmt.Errorf("operator %q: expected one of %s", all[i].Operator, strings.Join(operatorNames(), ", ")))
			}
			c.expressions(at.Append("key"), all[i].Key)
			c.expressions(at.Append("value"), all[i].Value)
		}
	}
	list("any", in.Any)
	list("all", in.All)
	list("", in.Old)
}

// hold says whether conditions hold, and the messages that say why or why not.
func (s *scope) hold(in *conditions) (bool, string, error) {
	if in == nil {
		return true, "", nil
	}
	if in.Old != nil {
		return s.holdAll(in.Old, ";")
	}
	var told, untold []string
	anyHolds := in.Any == nil
	for i := range in.Any {
		ok, err := s.holds(&in.Any[i])
		if err != nil {
			return false, "", err
		}
		if ok {
			anyHolds = true
			told = append(told, in.Any[i].Message)
			break
		}
		untold = append(untold, in.Any[i].Message)
	}
	allHold := true
	for i := range in.All {
		ok, err := s.holds(&in.All[i])
		if err != nil {
			return false, "", err
		}
		if !ok {
			allHold = false
			untold = append(untold, in.All[i].Message)
			break
		}
		told = append(told, in.All[i].Message)
	}
	if anyHolds && allHold {
		return true, join(told, "; "), nil
	}
	return false, join(untold, "; "), nil
}

func (s *scope) holdAll(list []condition, separator string) (bool, string, error) {
	var told []string
	for i := range list {
		ok, err := s.holds(&list[i])
		switch {
		case err != nil:
			return false, "", err
		case !ok:
			return false, list[i].Message, nil
		}
		told = append(told, list[i].Message)
	}
	return true, join(told, separator), nil
}

func (s *scope) holds(c *condition) (bool, error) {
	key, err := s.substitute(c.Key)
	if err != nil {
		return false, err
	}
	value, err := s.substitute(c.Value)
	if err != nil {
		return false, err
	}
	return operations[c.Operator](key, value), nil
}

// join leaves out what is empty.
func join(texts []string, separator string) string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return strings.Join(out, separator)
}
