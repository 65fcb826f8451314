package hubspottest

import (
	"net/http"
	"strconv"
	"strings"
)

// recordIDProperty is a property that each object type has, and nobody can write.
const recordIDProperty = "hs_object_id"

// propertyRoute finds the object type and the property that a path of the properties API names.
func (c *CRM) propertyRoute(path string) (objectType, name string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/crm/properties/"+c.cfg.Version+"/")
	if !ok {
		return "", "", false
	}
	objectType, name, ok = strings.Cut(rest, "/")
	return objectType, name, ok && objectType != "" && name != "" && !strings.Contains(name, "/")
}

// describe answers what a property of an object type is. It meets no faults but the credential's and the quota's.
func (x *exchange) describe(objectType, name string) {
	if x.r.Method != http.MethodGet {
		x.w.Header().Set("Allow", http.MethodGet)
		x.refuse(http.StatusMethodNotAllowed, &problem{message: "HTTP 405 Method Not Allowed"})
		return
	}
	latency, ok := x.enter()
	if !ok {
		return
	}
	if x.r.ContentLength != 0 || x.r.URL.RawQuery != "" {
		x.refuse(http.StatusBadRequest, invalid("A property is read without a body and without a query"))
		return
	}
	x.wait(latency, nil)
	t := x.crm.tables[objectType]
	if t == nil {
		x.fail(http.StatusNotFound, &problem{
			category: "OBJECT_NOT_FOUND", message: "Unable to infer object type from: " + objectType,
		})
		return
	}
	p := t.declared[name]
	if p == nil && !t.open && name != recordIDProperty {
		x.fail(http.StatusNotFound, &problem{
			category: "OBJECT_NOT_FOUND", message: "Property " + strconv.Quote(name) + " does not exist",
		})
		return
	}
	unique := strconv.FormatBool(p != nil && p.unique != nil)
	readOnly := strconv.FormatBool(name == recordIDProperty)
	form, ok := t.spec.Types[name]
	if !ok {
		form = PropertyType{"string", "text"}
	}
	x.out = append(x.out, `{"name":`...)
	x.out = append(x.out, quote(name)...)
	x.out = append(x.out, `,"label":`...)
	x.out = append(x.out, quote(name)...)
	x.out = append(x.out, `,"description":"","groupName":"information","type":`...)
	x.out = append(x.out, quote(form.Type)...)
	x.out = append(x.out, `,"fieldType":`...)
	x.out = append(x.out, quote(form.FieldType)...)
	x.out = append(x.out, `,"options":[],"archived":false,"calculated":false,"formField":true,"hidden":false,`+
		`"hubspotDefined":`+readOnly+`,"hasUniqueValue":`+unique+
		`,"modificationMetadata":{"archivable":true,"readOnlyDefinition":false,"readOnlyValue":`+readOnly+`}}`...)
	x.json(http.StatusOK)
}
