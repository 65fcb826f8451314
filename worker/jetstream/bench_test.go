package jetstream

import (
	"fmt"
	"testing"

	"crmintake/worker"
)

func BenchmarkFetchAndAck(b *testing.B) {
	for _, size := range []int{300, 3000} {
		b.Run(fmt.Sprint(size, "bytes"), func(b *testing.B) {
			e := newEnv(b)
			s := e.init(b, InitConfig{})
			p, err := OpenPublisher(b.Context(), e.nc, PublisherConfig{})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			body := make([]byte, size)
			for i := range b.N {
				if err := p.Publish(b.Context(), Message{Subject: "crm.create.contacts", ID: fmt.Sprint(i),
					Data: body}); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				if err := s.Fetch(b.Context(), 4000, 64<<20, func(ev *worker.Event) {
					n++
					if err := ev.Message.Ack(); err != nil {
						b.Error(err)
					}
				}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkPublish(b *testing.B) {
	e := newEnv(b)
	e.init(b, InitConfig{})
	p, err := OpenPublisher(b.Context(), e.nc, PublisherConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	body := make([]byte, 300)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := p.Publish(b.Context(), Message{Subject: "crm.create.contacts", ID: fmt.Sprint(i),
			Data: body}); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
