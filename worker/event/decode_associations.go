package event

import (
	"strconv"
)

// maxAssociationTypeID: the API's published description makes associationTypeId a 32-bit integer.
const maxAssociationTypeID = 1<<31 - 1

func (d *decoder) readAssociations() error {
	if d.in.PeekKind() == 'n' {
		_, err := d.value()
		return err
	}
	if err := d.open('[', "an array or null"); err != nil {
		return err
	}
	for d.in.PeekKind() != ']' {
		if len(d.associations) > 0 {
			d.associations = append(d.associations, ',')
		}
		if err := d.readAssociation(); err != nil {
			return err
		}
	}
	return d.close()
}

// readAssociation reads {"to": {"id": …}, "types": […]}. Its members go out in this order, whatever theirs was.
func (d *decoder) readAssociation() error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	start := d.in.InputOffset() - 1
	d.target, d.types = d.target[:0], d.types[:0]
	for {
		name, more, err := d.member()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch string(name) {
		case "to":
			err = d.readTarget()
		case "types":
			err = d.readTypes()
		default:
			err = d.unknownMember("to and types")
		}
		if err != nil {
			return err
		}
	}
	if len(d.target) == 0 {
		return d.faultAt(start, "to is missing")
	}
	if len(d.types) == 0 {
		return d.faultAt(start, "types is missing")
	}
	d.associations = append(d.associations, `{"to":{"id":`...)
	d.associations = append(d.associations, d.target...)
	d.associations = append(d.associations, `},"types":[`...)
	d.associations = append(d.associations, d.types...)
	d.associations = append(d.associations, `]}`...)
	return nil
}

// readTarget reads {"id": …} into d.target, as a quoted string.
func (d *decoder) readTarget() error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	start := d.in.InputOffset() - 1
	for {
		name, more, err := d.member()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if string(name) != "id" {
			return d.unknownMember("id")
		}
		switch d.in.PeekKind() {
		case '"':
			raw, err := d.value()
			if err != nil {
				return err
			}
			if text, err := d.text(raw); err != nil {
				return err
			} else if len(text) == 0 {
				return d.fault(raw, "the id is empty")
			}
			d.target = append(d.target, raw...)
		case '0':
			raw, err := d.value()
			if err != nil {
				return err
			}
			if !isDigits(raw) {
				return d.fault(raw, "want an id of digits only")
			}
			d.target = append(append(append(d.target, '"'), raw...), '"')
		default:
			return d.wrongKind("a string or a number")
		}
	}
	if len(d.target) == 0 {
		return d.faultAt(start, "id is missing")
	}
	return nil
}

// readTypes reads the array of an association's types, at least one, into d.types.
func (d *decoder) readTypes() error {
	if err := d.open('[', "an array"); err != nil {
		return err
	}
	start := d.in.InputOffset() - 1
	for d.in.PeekKind() != ']' {
		category, id, err := d.readType()
		if err != nil {
			return err
		}
		if len(d.types) > 0 {
			d.types = append(d.types, ',')
		}
		d.types = append(d.types, `{"associationCategory":"`...)
		d.types = append(d.types, category...)
		d.types = append(d.types, `","associationTypeId":`...)
		d.types = strconv.AppendInt(d.types, id, 10)
		d.types = append(d.types, '}')
	}
	if err := d.close(); err != nil {
		return err
	}
	if len(d.types) == 0 {
		return d.faultAt(start, "want at least one type")
	}
	return nil
}

func (d *decoder) readType() (category string, id int64, err error) {
	if err := d.open('{', "an object"); err != nil {
		return "", 0, err
	}
	start := d.in.InputOffset() - 1
	for {
		name, more, err := d.member()
		if err != nil {
			return "", 0, err
		}
		if !more {
			break
		}
		switch string(name) {
		case "associationCategory":
			text, err := d.readString()
			if err != nil {
				return "", 0, err
			}
			if category = categoryOf(text); category == "" {
				return "", 0, d.faultAt(d.in.InputOffset()-1,
					"want HUBSPOT_DEFINED, INTEGRATOR_DEFINED, USER_DEFINED or WORK")
			}
		case "associationTypeId":
			if d.in.PeekKind() != '0' {
				return "", 0, d.wrongKind("an integer")
			}
			raw, err := d.value()
			if err != nil {
				return "", 0, err
			}
			if isDigits(raw) {
				id, err = strconv.ParseInt(string(raw), 10, 32)
			}
			if err != nil || id < 1 {
				return "", 0, d.fault(raw, "want an integer from 1 to %d", maxAssociationTypeID)
			}
		default:
			return "", 0, d.unknownMember("associationCategory and associationTypeId")
		}
	}
	switch {
	case category == "":
		return "", 0, d.faultAt(start, "associationCategory is missing")
	case id == 0:
		return "", 0, d.faultAt(start, "associationTypeId is missing")
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
