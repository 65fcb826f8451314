package fleet

import (
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"crmintake/outbox"
)

// The metric of the day's limit is what the outbox goes by.
func TestDayLimitMetric(t *testing.T) {
	metrics := NewMetrics(nil)
	metrics.show(&snapshot{}, Load{}, outbox.Quota{Calls: 100, Window: time.Second, Daily: 1000, Reserve: .9})
	var m dto.Metric
	if err := metrics.dayLimit.Write(&m); err != nil || m.GetGauge().GetValue() != 100 {
		t.Errorf("%v, %v; want 100", m.GetGauge().GetValue(), err)
	}
}
