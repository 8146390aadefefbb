package manifest

// blockText reads the text behind `|` or `>`, whose lines are indented deeper than indent. i is then at the beginning of the
// line that follows.
func (p *parser) blockText(indent int) (string, bool) {
	folded := p.text[p.i] == '>'
	chomp, explicit := byte(0), 0
	for p.i++; p.i < len(p.text); p.i++ {
		c := p.text[p.i]
		if (c == '+' || c == '-') && chomp == 0 {
			chomp = c
		} else if c >= '1' && c <= '9' && explicit == 0 {
			explicit = int(c - '0')
		} else {
			break
		}
	}
	behind := p.i
	p.spaces()
	if p.i < len(p.text) && p.text[p.i] == '#' && p.i > behind {
		p.i = p.indexByte(p.i, '\n')
	}
	if p.i < len(p.text) && p.text[p.i] == '\r' {
		p.i++
	}
	if p.i >= len(p.text) || p.text[p.i] != '\n' {
		return "", false
	}
	p.i++
	p.line = p.i
	p.last = p.i
	margin := 0
	if explicit > 0 {
		margin = max(indent, 0) + explicit
	}
	return p.blockLines(indent, margin, folded, chomp)
}

// blockLines reads the lines of a block of text. margin is their indentation, or 0 when the first line sets it.
func (p *parser) blockLines(indent, margin int, folded bool, chomp byte) (string, bool) {
	var buf []byte
	breaks := 0         // line ends since the last line with text
	written := false    // there was a line with text
	wasBlank := false   // which began with a blank
	unfinished := false // and had no line end
	widest := 0         // of the empty lines before the first
	for p.i < len(p.text) {
		i := p.i
		for i < len(p.text) && p.text[i] == ' ' && (margin == 0 || i-p.i < margin) {
			i++
		}
		width := i - p.i
		if i == len(p.text) {
			if !written || width > 0 {
				return "", false // what blanks at the very end mean is for the library
			}
			break
		}
		if isBreak(p.text[i]) {
			if !written {
				widest = max(widest, width)
			}
			breaks++
			p.i = p.indexByte(i, '\n') + 1
			p.line = p.i
			continue
		}
		if margin == 0 {
			if width <= indent || width == 0 || widest > width || p.text[i] == '\t' {
				return "", false
			}
			margin = width
			buf = make([]byte, 0, 512)
		}
		if width < margin {
			if p.text[i] == '\t' {
				return "", false
			}
			break
		}
		end := p.indexByte(i, '\n')
		p.i = min(end+1, len(p.text))
		p.line = p.i
		unfinished = end == len(p.text)
		if end > i && p.text[end-1] == '\r' {
			end--
		}
		isBlank := p.text[i] == ' ' || p.text[i] == '\t'
		if written && folded && !wasBlank && !isBlank {
			if breaks == 1 {
				buf = append(buf, ' ')
			}
			breaks--
		}
		for ; breaks > 0; breaks-- {
			buf = append(buf, '\n')
		}
		buf = append(buf, p.text[i:end]...)
		p.last = end
		written, wasBlank, breaks = true, isBlank, 1
	}
	if !written {
		return "", false
	}
	if unfinished {
		breaks--
	}
	if chomp == '-' {
		breaks = 0
	} else if chomp == 0 {
		breaks = min(breaks, 1)
	}
	for ; breaks > 0; breaks-- {
		buf = append(buf, '\n')
	}
	return string(buf), true
}
