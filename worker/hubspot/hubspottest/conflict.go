package hubspottest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// conflict is the problem of an input whose unique value a record has.
func (t *table) conflict(property, value string, existing int64) *problem {
	return &problem{
		status: http.StatusConflict, category: "CONFLICT", message: noun(t.name) + " already exists.",
		existing: existing, property: property, value: value,
	}
}

// told puts a conflict into the form that a fault gives it. What is no conflict stays as it is.
func (t *table) told(p *problem, form Fault) *problem {
	if p == nil || p.property == "" {
		return p
	}
	q := *p
	switch form {
	case ConflictWithoutID:
		q.existing = 0
	case ConflictAsValidation:
		q = *invalid("Property values were not valid: [" + fault(p.property, p.text(), "CONFLICTING_UNIQUE_VALUE") + "]")
	case ConflictAsCoordinates:
		q = *invalid(t.coordinates(p).message)
	case ConflictAsExists:
		q = problem{
			status: p.status, category: "OBJECT_ALREADY_EXISTS", code: strings.ToUpper(noun(t.name)) + "_EXISTS",
			message: p.text(),
		}
	case ConflictAsErrorType:
		at := t.coordinates(p)
		q = problem{
			status: http.StatusBadRequest, message: at.message, errorType: "UNIQUE_VALUE_CONFLICT", tokens: at.tokens(),
		}
	}
	return &q
}

// coordinates are a conflict as the store below the API sees it.
type coordinates struct {
	typeID, property, value string
	objectID, existingID    int64
	message                 string
}

const portalID = 1

// coordinates describes a conflict. The input's record, which was not made, has an id; so has a record that will not
// exist because the batch failed.
func (t *table) coordinates(p *problem) coordinates {
	c := coordinates{
		typeID: "2-1", property: p.property, value: p.value, objectID: t.lastID.Add(1), existingID: p.existing,
	}
	if c.existingID == 0 {
		c.existingID = t.lastID.Add(1)
	}
	name := c.typeID
	switch known, ok := typeIDs[t.name]; {
	case ok:
		c.typeID, name = known, "ObjectTypeId{legacyObjectType="+strings.ToUpper(noun(t.name))+"}"
	case t.name[0] >= '0' && t.name[0] <= '9':
		c.typeID, name = t.name, t.name
	}
	c.message = fmt.Sprintf("Cannot set PropertyValueCoordinates{portalId=%d, objectTypeId=%s, propertyName=%s, value=%s}"+
		" on %d. %d already has that value.", portalID, name, c.property, c.value, c.objectID, c.existingID)
	return c
}

// typeIDs are those of object types that messages call by a name.
var typeIDs = map[string]string{"contacts": "0-1", "companies": "0-2", "deals": "0-3", "tickets": "0-5"}

// tokens are the parts of the message.
func (c coordinates) tokens() []byte {
	b := []byte{'{'}
	for i, token := range [][2]string{
		{"objectTypeId", c.typeID}, {"propertyName", c.property}, {"portalId", strconv.Itoa(portalID)},
		{"existingObjectId", strconv.FormatInt(c.existingID, 10)}, {"conflictingValue", c.value},
		{"objectId", strconv.FormatInt(c.objectID, 10)},
	} {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(append(b, quote(token[0])...), `:[`...), quote(token[1])...), ']')
	}
	return append(b, '}')
}
