"""Print a running agent's scores with nothing but grpcio and the generated contract.   python subscribe.py HOST:PORT"""

import sys

import grpc

from livemos.proto.quality.v1 import quality_pb2, quality_pb2_grpc

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50561"
with grpc.insecure_channel(address) as channel:
    grpc.channel_ready_future(channel).result(timeout=20)
    stub = quality_pb2_grpc.QualityServiceStub(channel)
    try:
        for update in stub.Subscribe(quality_pb2.SubscribeRequest(), wait_for_ready=True):
            if update.WhichOneof("message") == "segment":
                score = update.segment
                said = f"{score.mos:.2f}" if score.HasField("mos") else quality_pb2.Reason.Name(score.reason)
                print(f"{score.source_id} #{score.segment_index} MOS {said}")
            elif update.WhichOneof("message") == "event":
                print(f"{update.event.source_id} {quality_pb2.EventKind.Name(update.event.kind)} {update.event.detail}")
    except grpc.RpcError as ended:
        print(f"the feed ended: {ended.code().name}")
