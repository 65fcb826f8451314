package operator

import (
	"testing"

	"crmintake/outbox/outboxtest"
)

func TestMain(m *testing.M) { outboxtest.Main(m) }
