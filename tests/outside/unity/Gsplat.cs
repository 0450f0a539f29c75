// Signatures of the package wu.yize.gsplat 1.3, read in its public source.
using UnityEngine;

namespace Gsplat
{
    public abstract class GsplatResource { public bool Uploaded; }
    public class GsplatResourceUncompressed : GsplatResource
    {
        public GraphicsBuffer PositionBuffer { get; private set; }
        public GraphicsBuffer ScaleBuffer { get; private set; }
        public GraphicsBuffer RotationBuffer { get; private set; }
        public GraphicsBuffer ColorBuffer { get; private set; }
    }
    public class GsplatRenderer : MonoBehaviour { public GsplatResource GsplatResource => null; }
}
