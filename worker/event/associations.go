package event

import "strconv"

// maxAssociationTypeID: the API's published description makes associationTypeId a 32-bit integer.
const maxAssociationTypeID = 1<<31 - 1

// associations are those of one event, as they go out.
type associations struct {
	elements []byte // separated by commas
	target   []byte // the id of the one that is being read, quoted
	types    []byte // its types, separated by commas
}

func (a *associations) release() {
	for _, b := range []*[]byte{&a.elements, &a.target, &a.types} {
		if cap(*b) > maxKeptBuffer {
			*b = nil
		}
	}
}

// read reads the array, or null. Each element goes out in one form, whatever the order of its members was.
func (a *associations) read(r *reader) error {
	if r.json.PeekKind() == 'n' {
		_, err := r.value()
		return err
	}
	if err := r.open('[', "an array or null"); err != nil {
		return err
	}
	for r.json.PeekKind() != ']' {
		if len(a.elements) > 0 {
			a.elements = append(a.elements, ',')
		}
		if err := a.readOne(r); err != nil {
			return err
		}
	}
	return r.close()
}

// readOne reads {"to": {"id": …}, "types": […]}.
func (a *associations) readOne(r *reader) error {
	if err := r.open('{', "an object"); err != nil {
		return err
	}
	start := r.json.InputOffset() - 1
	a.target, a.types = a.target[:0], a.types[:0]
	for {
		name, more, err := r.member()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch string(name) {
		case "to":
			err = a.readTarget(r)
		case "types":
			err = a.readTypes(r)
		default:
			err = r.unknownMember("to and types")
		}
		if err != nil {
			return err
		}
	}
	if len(a.target) == 0 {
		return r.faultAt(start, "to is missing")
	}
	if len(a.types) == 0 {
		return r.faultAt(start, "types is missing")
	}
	a.elements = append(a.elements, `{"to":{"id":`...)
	a.elements = append(a.elements, a.target...)
	a.elements = append(a.elements, `},"types":[`...)
	a.elements = append(a.elements, a.types...)
	a.elements = append(a.elements, `]}`...)
	return nil
}

// readTarget reads {"id": …} into a.target, as a quoted string.
func (a *associations) readTarget(r *reader) error {
	if err := r.open('{', "an object"); err != nil {
		return err
	}
	start := r.json.InputOffset() - 1
	for {
		name, more, err := r.member()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if string(name) != "id" {
			return r.unknownMember("id")
		}
		switch r.json.PeekKind() {
		case '"':
			raw, err := r.value()
			if err != nil {
				return err
			}
			if text, err := r.text(raw); err != nil {
				return err
			} else if len(text) == 0 {
				return r.fault(raw, "the id is empty")
			}
			a.target = append(a.target, raw...)
		case '0':
			raw, err := r.value()
			if err != nil {
				return err
			}
			if !isDigits(raw) {
				return r.fault(raw, "want an id of digits only")
			}
			a.target = append(append(append(a.target, '"'), raw...), '"')
		default:
			return r.wrongKind("a string or a number")
		}
	}
	if len(a.target) == 0 {
		return r.faultAt(start, "id is missing")
	}
	return nil
}

// readTypes reads the array of an association's types, at least one, into a.types.
func (a *associations) readTypes(r *reader) error {
	if err := r.open('[', "an array"); err != nil {
		return err
	}
	start := r.json.InputOffset() - 1
	for r.json.PeekKind() != ']' {
		category, id, err := readType(r)
		if err != nil {
			return err
		}
		if len(a.types) > 0 {
			a.types = append(a.types, ',')
		}
		a.types = append(a.types, `{"associationCategory":"`...)
		a.types = append(a.types, category...)
		a.types = append(a.types, `","associationTypeId":`...)
		a.types = strconv.AppendInt(a.types, id, 10)
		a.types = append(a.types, '}')
	}
	if err := r.close(); err != nil {
		return err
	}
	if len(a.types) == 0 {
		return r.faultAt(start, "want at least one type")
	}
	return nil
}

func readType(r *reader) (category string, id int64, err error) {
	if err := r.open('{', "an object"); err != nil {
		return "", 0, err
	}
	start := r.json.InputOffset() - 1
	for {
		name, more, err := r.member()
		if err != nil {
			return "", 0, err
		}
		if !more {
			break
		}
		switch string(name) {
		case "associationCategory":
			text, err := r.readString()
			if err != nil {
				return "", 0, err
			}
			if category = categoryOf(text); category == "" {
				return "", 0, r.faultAt(r.json.InputOffset()-1,
					"want HUBSPOT_DEFINED, INTEGRATOR_DEFINED, USER_DEFINED or WORK")
			}
		case "associationTypeId":
			if r.json.PeekKind() != '0' {
				return "", 0, r.wrongKind("an integer")
			}
			raw, err := r.value()
			if err != nil {
				return "", 0, err
			}
			if isDigits(raw) {
				id, err = strconv.ParseInt(string(raw), 10, 32)
			}
			if err != nil || id < 1 {
				return "", 0, r.fault(raw, "want an integer from 1 to %d", maxAssociationTypeID)
			}
		default:
			return "", 0, r.unknownMember("associationCategory and associationTypeId")
		}
	}
	switch {
	case category == "":
		return "", 0, r.faultAt(start, "associationCategory is missing")
	case id == 0:
		return "", 0, r.faultAt(start, "associationTypeId is missing")
	}
	return category, id, nil
}

// categoryOf returns the API's own name, which costs no memory, or "".
func categoryOf(text []byte) string {
	for _, category := range [...]string{"HUBSPOT_DEFINED", "INTEGRATOR_DEFINED", "USER_DEFINED", "WORK"} {
		if string(text) == category {
			return category
		}
	}
	return ""
}
