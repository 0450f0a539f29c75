using Gsplat;
using UnityEngine;

namespace Ani3D.GsplatBridge
{
    /// <summary>
    /// Draws the avatar through the package wu.yize.gsplat: its renderer's uncompressed buffers are overwritten every
    /// frame. Its asset must hold as many Gaussians: import the first frame that `ani3d export --to ply` writes.
    /// </summary>
    [ExecuteAlways]
    [DefaultExecutionOrder(100)]
    [RequireComponent(typeof(Ani3DPlayer), typeof(GsplatRenderer))]
    [AddComponentMenu("Ani3D/Ani3D to gsplat")]
    public sealed class Ani3DGsplatBridge : MonoBehaviour
    {
        ComputeShader shader;
        Ani3DPlayer player;
        GsplatRenderer target;

        void OnEnable()
        {
            shader = Instantiate(Resources.Load<ComputeShader>("Ani3DToGsplat"));
            player = GetComponent<Ani3DPlayer>();
            target = GetComponent<GsplatRenderer>();
            player.DrawsItself = false;
        }

        void OnDisable() => player.DrawsItself = true;

        void LateUpdate()
        {
            if (player.Gpu == null || !(target.GsplatResource is GsplatResourceUncompressed buffers)) return;
            int count = Mathf.Min(player.Gpu.Count, buffers.PositionBuffer.count);
            int kernel = shader.FindKernel("Copy");
            shader.SetInt("Count", count);
            shader.SetInt("Total", buffers.PositionBuffer.count);
            shader.SetBuffer(kernel, "PosedMeans", player.Gpu.PosedMeans);
            shader.SetBuffer(kernel, "PosedQuats", player.Gpu.PosedQuats);
            shader.SetBuffer(kernel, "PosedLogScales", player.Gpu.PosedLogScales);
            shader.SetBuffer(kernel, "Colors", player.Gpu.Colors);
            shader.SetBuffer(kernel, "Positions", buffers.PositionBuffer);
            shader.SetBuffer(kernel, "Rotations", buffers.RotationBuffer);
            shader.SetBuffer(kernel, "Scales", buffers.ScaleBuffer);
            shader.SetBuffer(kernel, "Coefficients", buffers.ColorBuffer);
            shader.Dispatch(kernel, (buffers.PositionBuffer.count + 63) / 64, 1, 1);
        }
    }
}
